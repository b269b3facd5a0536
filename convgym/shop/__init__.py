"""What is sold, and in which words: catalogues and the language of shops."""
