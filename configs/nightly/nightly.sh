#!/bin/sh
# Every night: read what is new, check the runs, write the report. All settings come from the
# environment; the last line of the first command is the one for the log. A line of cron:
#
#     15 2 * * *  SCALEFIT_STORE=/data/store LOGS=/data/runs /opt/scalefit/nightly.sh >>/var/log/scalefit.log 2>&1
set -eu
: "${SCALEFIT_STORE:?name the folder or URL of the store}" "${LOGS:?name the folder or URL of the logs}"
CONFIG=${CONFIG:-} REPORT=${REPORT:-}

date -u +%FT%TZ
# shellcheck disable=SC2086 # LOGS may name several
scalefit -q ingest $LOGS ${CONFIG:+--config "$CONFIG"}
failed=0
if [ -n "$CONFIG" ]; then # 1: a check failed, which the report shows; else nothing can go on
    scalefit check --config "$CONFIG" || { failed=$?; [ "$failed" -eq 1 ] || exit "$failed"; }
fi
if [ -n "$REPORT" ]; then
    scalefit -q fit ${CONFIG:+--config "$CONFIG"}
    scalefit -q report ${CONFIG:+--config "$CONFIG"} -o "$REPORT"
fi
exit "$failed"
