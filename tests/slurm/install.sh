#!/bin/sh
# Installs what `make test-slurm` needs, where that is one command: as root on Debian or its kin.
set -eu

for program in slurmctld slurmd munged sbatch; do
  if command -v "$program" >/dev/null; then
    continue
  fi
  if [ "$(id -u)" -ne 0 ] || [ ! -e /etc/debian_version ]; then
    echo "test-slurm: $program is missing, and only root on Debian gets it here; the tests are skipped" >&2
    exit 0
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  apt-get install -y slurm-wlm munge
  exit 0
done
