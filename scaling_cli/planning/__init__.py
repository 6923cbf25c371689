"""Splits of a budget, and recipes side by side, by fitted laws."""
