"""Work spread over processes and machines: the same answers, in the same order, on any of them.

An executor takes one piece of work at a time and says how many are worked on at once: this
process's own (`processes.py`), those of a Dask cluster (`dask_cluster.py`), of one that Slurm
starts (`slurm_jobs.py`), or of a Ray cluster (`ray_cluster.py`).
"""

from scaling_cli.workers.spread import AHEAD, THREADS, Mapper, Workers, checked, mapper

__all__ = ["AHEAD", "THREADS", "Mapper", "Workers", "checked", "mapper"]
