#!/usr/bin/env bash
# Transcribe a recording with curl: text, word times, and a stream.
#
# bash curl.sh recording.wav http://127.0.0.1:8080 [KEY]
set -euo pipefail
file=$1
url=${2:-http://127.0.0.1:8080}
key=${3:-unused}

transcribe() {
    curl --silent --show-error --fail-with-body "$url/v1/audio/transcriptions" \
        -H "Authorization: Bearer $key" -F "file=@$file" -F model=whisper-1 "$@"
}

transcribe -F response_format=text
transcribe -F response_format=verbose_json -F "timestamp_granularities[]=word"
echo
transcribe --no-buffer -F stream=true
