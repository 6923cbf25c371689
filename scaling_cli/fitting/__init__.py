"""Objectives, the batched solver, resampling, diagnostics; a law is known by its interface."""
