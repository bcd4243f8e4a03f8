"""The partner gateway: gets each subject's contact to the partner agency, in that agency's form, once."""
