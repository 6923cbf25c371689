"""Figures as data, and what draws them: the page, matplotlib, the terminal."""
