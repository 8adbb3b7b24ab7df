"""Where and when flows run: `prefect.yaml` names them; `up` and `down` run a server and a worker on this machine."""
