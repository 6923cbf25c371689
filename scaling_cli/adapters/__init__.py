"""Sources to runs: `base` says what an adapter is, `registry` finds them, `reading` goes through
sources, and `joining` puts together what several files hold of one run. A file with an `ADAPTER` or
a `SERVICE` at its end reads one format or service; the others serve them."""
