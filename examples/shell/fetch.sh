#!/bin/sh
# Clones a repository of Codeberg's, private ones too, and says whose it is:  JWT=… ./fetch.sh ada/notes
# Neither curl nor git gets the JWT as an argument, where `ps` would show it to others.
set -eu

service=${VALETKEY_URL:-http://127.0.0.1:8080}/proxy/codeberg

# Where there is nothing to call with, this prints Valetkey's answer, with its link, and ends.
printf 'Authorization: Bearer %s' "$JWT" | curl --silent --show-error --fail-with-body --header @- "$service/api/v1/repos/$1"
echo

export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader GIT_CONFIG_VALUE_0="Authorization: Bearer $JWT"
git clone --quiet "$service/$1.git"
ls "$(basename "$1")"
