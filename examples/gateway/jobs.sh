#!/usr/bin/env bash
# Transcribe a recording as a job with curl: create it, wait for its end, fetch subtitles, delete it.
#
# bash jobs.sh recording.wav http://127.0.0.1:8080 [KEY]
set -euo pipefail
file=$1
url=${2:-http://127.0.0.1:8080}
key=${3:-unused}

call() {
    curl --silent --show-error --fail-with-body -H "Authorization: Bearer $key" "$@"
}
field() {
    python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"
}

# The same key and file again would answer with the same job, so this is safe to repeat.
idempotency_key=$(sha256sum "$file" | cut -d' ' -f1)
id=$(call "$url/v1/jobs" -H "Idempotency-Key: $idempotency_key" -F "file=@$file" -F model=whisper-1 | field id)

status=queued
while [[ $status == queued || $status == running ]]; do
    sleep 1  # A program uses webhook_url instead: see webhook_receiver.py.
    status=$(call "$url/v1/jobs/$id" | field status)
done

call "$url/v1/jobs/$id/result?format=text"
call "$url/v1/jobs/$id/result?format=srt"
call -X DELETE "$url/v1/jobs/$id"
