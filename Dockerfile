# One image for all processes: API, monitor, scheduled jobs, paper exchange, migrations.
# Debian's own Python: the same base serves both stages, and its security updates come with a rebuild.
FROM docker.io/library/debian:bookworm-slim AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# What is installed changes seldom, the code often: two layers.
COPY pyproject.toml poetry.lock Makefile ./
COPY scripts/poetry.py scripts/poetry.py
RUN make install POETRY_INSTALL="--only main" \
    && .venv/bin/python -m pip uninstall --quiet --yes setuptools pip \
    && find .venv -name tests -type d -prune -exec rm -rf {} + \
    && .venv/bin/python -m compileall -q -j 0 .venv/lib

FROM docker.io/library/debian:bookworm-slim

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 tradebox \
    && useradd --system --uid 10001 --gid 10001 --home-dir /app --shell /usr/sbin/nologin tradebox \
    && install -d -o tradebox -g tradebox -m 0700 /app/data
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY alembic.ini config.py healthcheck.py main.py operate.py ws_monitor_async.py ./
COPY admin admin
COPY core core
COPY flows flows
COPY migrations migrations
COPY paper paper
RUN python3 -m compileall -q .
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_HOME=/app/data/prefect
USER 10001:10001
EXPOSE 8009
# The API's; docker-compose.yml names the others'.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "healthcheck.py", "http://127.0.0.1:8009/health/live"]
ENTRYPOINT ["tini", "--"]
CMD ["python", "main.py"]
