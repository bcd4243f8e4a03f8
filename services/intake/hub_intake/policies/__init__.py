"""The rules intake reads a referral by: ages, completeness, and the open summary made of both."""
