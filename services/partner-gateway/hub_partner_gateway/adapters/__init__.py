"""What reaches outside the service: partners' systems and the files it ships with."""
