# Scanside on an x86-64 workstation with an NVIDIA RTX card (Ampere, Ada, Blackwell), or without a GPU.
# NOT BUILT AND NOT RUN: we have neither a GPU nor a Docker daemon. Checked with hadolint 2.15.1 alone; docs/install.md.
#
#   docker build -f docker/rtx.Dockerfile -t scanside:rtx .
#   docker build -f docker/rtx.Dockerfile -t scanside:cpu --build-arg EXTRAS=cpu,appliance .
#
# TensorRT-RTX comes from PyPI; the driver comes from the host, through the NVIDIA Container Toolkit.

# DL3008: of Debian's own packages the newest is wanted, with its security updates.
ARG BASE=python:3.12-slim-bookworm

# pyradiomics has no wheels: the compiler stays behind in this stage.
FROM ${BASE} AS builder
ARG EXTRAS=cpu,rtx,appliance
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python -m venv /opt/scanside/venv \
    && /opt/scanside/venv/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM ${BASE}
COPY --from=builder /opt/scanside/venv /opt/scanside/venv
ENV PATH=/opt/scanside/venv/bin:$PATH XDG_CACHE_HOME=/var/cache PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN groupadd --system --gid 10001 scanside \
    && useradd --system --uid 10001 --gid scanside --home-dir /var/lib/scanside --shell /usr/sbin/nologin scanside \
    && install -d -o scanside -g scanside -m 0700 /var/lib/scanside /var/cache/scanside
USER 10001:10001
WORKDIR /var/lib/scanside
# Patient data, and what was built for this GPU.
VOLUME ["/var/lib/scanside", "/var/cache/scanside"]
# DICOM, and storage commitment. /metrics and /health stay inside.
EXPOSE 11112 11113
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/health', timeout=5)"]
ENTRYPOINT ["scanside"]
CMD ["serve", "-c", "/etc/scanside/scanside.toml"]
