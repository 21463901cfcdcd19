#!/usr/bin/env bash
# One version everywhere, and the default model's digest in the scripts that declare it.
set -u
bad=0
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" dlm.control)
names() {               # names FILE PATTERN: complain unless a line of FILE matches
    grep -qE "$2" "$1" || { echo "$1 does not name version $version: $2"; bad=1; }
}
names META.json "\"version\": \"$version\.[0-9]+\""
names debian/changelog "^dlm \($version\.[0-9]+\)"
names CHANGELOG.md "^## $version "
# a version can be installed by a script of its own or by a chain of upgrades that ends in it
ls sql/extension | grep -qE -- "--$version\.sql$" || { echo "no script leads to version $version"; bad=1; }
# the scripts that CREATE EXTENSION runs: the last full one and the upgrades after it
full=$(ls sql/extension | grep -E '^dlm--[0-9.]+\.sql$' | sort -V | tail -n 1)
digest=$(cat models/dlm-135m/DIGEST)
grep -qs "$digest" "sql/extension/$full" sql/extension/dlm--*--"$version".sql || { echo "no script declares the default model $digest"; bad=1; }
exit $bad
