# One image for client, scheduler and worker: docs/docker.md. The only GDAL in it is the one in rasterio's wheel.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ARG PYTHON=python3
ARG EXTRAS=cluster
WORKDIR /src
RUN ${PYTHON} -m venv /opt/terrasketch
COPY pyproject.toml README.md LICENSE ./
COPY pipeline ./pipeline
RUN /opt/terrasketch/bin/pip install --no-cache-dir --only-binary :all: ".[${EXTRAS}]"

FROM ${BASE}
LABEL org.opencontainers.image.title="terrasketch" \
      org.opencontainers.image.description="Denoise, compress and featurise satellite scenes in one tiled pass" \
      org.opencontainers.image.licenses="Apache-2.0"
# Any uid may run the image and keep compiled kernels: the cache is open to all.
ENV PATH=/opt/terrasketch/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/terrasketch
RUN useradd --uid 10001 --no-log-init --create-home --shell /usr/sbin/nologin terrasketch \
    && install --directory --owner terrasketch --group terrasketch /data \
    && install --directory --mode 0777 "${NUMBA_CACHE_DIR}"
COPY --from=build /opt/terrasketch /opt/terrasketch
WORKDIR /data
USER 10001:10001
EXPOSE 8786 8787
HEALTHCHECK NONE
ENTRYPOINT ["terrasketch"]
CMD ["--help"]
