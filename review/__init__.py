"""What a review is: its nouns, its rules, its use cases, and the door that machines come in by."""
