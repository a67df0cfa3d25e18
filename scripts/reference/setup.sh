#!/usr/bin/env bash
# Brings what the reference runs with: Debian's PyTorch and NumPy, and Jinja2 for the chat templates.
# Debian's packages belong to Debian's own Python: run the programs with /usr/bin/python3.
set -euo pipefail

if /usr/bin/python3 -c 'import torch, numpy, jinja2' 2>/dev/null; then
	exit 0
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get install -y --no-install-recommends python3-torch python3-numpy python3-jinja2
