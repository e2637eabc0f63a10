# One console, on this machine alone: run it with --network host. Its SQLite lies in /data; SIGNOFF_DATABASE_URL replaces it.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    SIGNOFF_PORT=8501 \
    SIGNOFF_DATA_DIR=/data

WORKDIR /srv/signoff
COPY requirements.txt .
# git posts checkpoints to anchors that are repositories.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --disable-pip-version-check --requirement requirements.txt \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin signoff \
    && install --directory --owner signoff --group signoff --mode 0700 /data
COPY . .

USER signoff
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"SIGNOFF_PORT\"]}/healthz', timeout=4)"]
CMD ["python", "app.py", "serve"]
