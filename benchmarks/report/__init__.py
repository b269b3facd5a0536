"""Tables, pictures and pages, made from stored files alone."""
