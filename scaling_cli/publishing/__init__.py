"""A report as a run of a service: `wandb:ENTITY/PROJECT`, `mlflow:URI#EXPERIMENT`."""
