"""What moves triage from outside: intake's facts and the passing of time."""
