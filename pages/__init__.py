"""What a person sees: the console, its screens, and the sign-in routes."""
