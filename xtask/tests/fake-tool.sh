#!/bin/sh
# Stands in for a tool of llama.cpp: does what the file beside its name says.
. "$0.does"
