# labwaiter as a container: `./rebuildandrun.sh` builds and runs it; docs/operating.md tells more.
#   docker build -t labwaiter . && docker run -d -p 8080:80 --env-file=env --name waiter labwaiter
# It is the Dockerfile of a lab (app/labwaiter/shipped/lab/Dockerfile) but for labwaiter itself, which is here its source.

FROM python:3.13-slim-trixie
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/venv/bin:$PATH
# what the services need of Debian, and an init for PID 1
COPY app/services/packages.txt /build/
RUN apt-get update \
    && sed 's/#.*//' /build/packages.txt | xargs apt-get install -y --no-install-recommends tini procps \
    && rm -rf /var/lib/apt/lists/*
# what labwaiter needs, by its locks, and what the services need of Python
COPY requirements-build.txt requirements.txt /build/labwaiter/
RUN python -m venv /venv \
    && pip install --no-cache-dir --require-hashes -r /build/labwaiter/requirements-build.txt \
    && pip install --no-cache-dir --require-hashes --no-build-isolation -r /build/labwaiter/requirements.txt
COPY app/services/requirements.txt /build/
RUN pip install --no-cache-dir -r /build/requirements.txt
COPY app /app
COPY lab.toml /
# the command `labwaiter`; its code is in /app, where the services are, too
COPY pyproject.toml README.md LICENSE /
RUN pip install --no-cache-dir --no-build-isolation --no-deps --editable / && pip uninstall -y setuptools pip
# A fixed user, so that folders of the host can be given to it. Named volumes are its own from the start.
RUN touch /env && python -m compileall -q /app \
    && groupadd --gid 10001 labwaiter && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp labwaiter \
    && install -d -o labwaiter -g labwaiter /waiter_logs /waiter_files
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
