# lwisp without PyTorch, for Linux: docs/container.md says how it is run.
FROM python:3.13-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/lwisp \
    && /opt/lwisp/bin/pip install --no-cache-dir --constraint constraints.txt "$(echo /wheels/lwisp-*.whl)[serve]"

FROM python:3.13-slim-bookworm
ARG VERSION=unknown
LABEL org.opencontainers.image.title="lwisp" \
      org.opencontainers.image.description="RAW photos to finished pictures with one small network (LW-ISP), on a plain CPU" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-bookworm"
COPY --from=build /opt/lwisp /opt/lwisp
# All that lwisp writes beside its pictures lies in /tmp, so that the root may be read-only; learned weights in /data.
ENV PATH=/opt/lwisp/bin:$PATH \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_DATA_HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /photos
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s --retries=3 CMD ["python", "-m", "lwisp.serve.health"]
ENTRYPOINT ["lwisp"]
CMD ["--help"]
