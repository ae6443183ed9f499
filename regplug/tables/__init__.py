"""Tables of numbers and categories: reading, finding the kinds of columns, and preparing rows. No torch."""
