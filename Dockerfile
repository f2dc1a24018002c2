# labwaiter as a container: `./rebuildandrun.sh` builds and runs it; docs/operating.md tells more.
#   docker build -t labwaiter . && docker run -d -p 8080:80 --env-file=env --name waiter labwaiter
# Two targets: `client` is the test client, `service` (the last, so the default) the deployment.

FROM python:3.13-slim-trixie AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/venv/bin:$PATH

FROM base AS built
COPY requirements-build.txt requirements.txt /build/
RUN python -m venv /venv \
    && pip install --no-cache-dir --require-hashes -r /build/requirements-build.txt \
    && pip install --no-cache-dir --require-hashes --no-build-isolation -r /build/requirements.txt
# what the services of this deployment need of PyPI
COPY app/services/requirements.txt /build/services.txt
RUN pip install --no-cache-dir -r /build/services.txt
COPY pyproject.toml README.md LICENSE /build/
COPY app /build/app
# the command `labwaiter`; its code is in /app, where the services are, too
RUN pip install --no-cache-dir --no-build-isolation --no-deps /build && pip uninstall -y setuptools pip \
    && rm -rf /venv/lib/python3*/site-packages/labwaiter && echo /app > "$(echo /venv/lib/python3*/site-packages)/app.pth"

FROM base AS client
COPY --from=built /venv /venv
COPY test_client /test_client
ENV TEST_CLIENT_LAST=/work/.last.json
WORKDIR /work
ENTRYPOINT ["python", "/test_client/client.py"]

FROM base AS service
# what the services of this deployment need of Debian, and an init for PID 1
COPY app/services/packages.txt /tmp/packages.txt
RUN apt-get update \
    && sed 's/#.*//' /tmp/packages.txt | xargs apt-get install -y --no-install-recommends tini procps \
    && rm -rf /var/lib/apt/lists/* /tmp/packages.txt
COPY --from=built /venv /venv
COPY app /app
COPY lab.toml /lab.toml
COPY test_client /test_client
# A fixed user, so that folders of the host can be given to it. Named volumes are its own from the start.
RUN python -m compileall -q /app /test_client \
    && groupadd --gid 10001 labwaiter && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp labwaiter \
    && install -d -o labwaiter -g labwaiter /waiter_logs /waiter_files && touch /env
USER 10001:10001
VOLUME ["/waiter_logs", "/waiter_files"]
WORKDIR /app
# LABWAITER_DEPLOYMENT: the lab's folder, with app/, and env, which is empty: settings come by the environment
# LABWAITER_PUBLISHED: the host and port by which callers reach port 80; ./rebuildandrun.sh says them
# who may call has no default here: TOKENS=file keeps its tokens with the jobs
ENV LABWAITER_DEPLOYMENT=/ HOST=0.0.0.0 PORT=80 LABWAITER_PUBLISHED= TOKENS_FILE=/waiter_logs/.tokens.json
EXPOSE 80
ARG VERSION=unknown
LABEL org.opencontainers.image.title=labwaiter org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.licenses=MIT
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["labwaiter", "health"]
ENTRYPOINT ["tini", "--", "labwaiter"]
CMD ["up", "--host", "0.0.0.0", "--port", "80"]
