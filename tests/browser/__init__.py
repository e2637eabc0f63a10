"""The console as a person has it before them: the real application, clicked in a real Chromium."""
