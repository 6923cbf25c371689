"""Sources to runs: `registry` names the adapters, `reading` goes through sources, `joining` puts
together what several files hold of one run, and every other file reads one format or service."""
