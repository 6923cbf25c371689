"""Tables and documents for people. Nothing is computed here that the library does not return."""
