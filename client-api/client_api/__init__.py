"""The local HTTP API: wallets, apps and the web app need nothing else."""
