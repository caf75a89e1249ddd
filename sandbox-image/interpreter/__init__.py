"""`python3` in the sandbox by a fork of the template: what a fork does to be what the program would have been."""
