# Scanside on a Jetson (AGX Orin, Orin NX, Orin Nano, Thor) with JetPack 7.2 or later: CUDA 13, Python 3.12.
# NOT BUILT AND NOT RUN: we have no Jetson. Checked with hadolint 2.15.1 alone. docs/install.md says what is known.
#
#   docker build -f docker/jetson.Dockerfile -t scanside:jetson .
#
# Since JetPack 7.2, Orin runs the same arm64 images as servers (SBSA); l4t-* images are of JetPack 6 and earlier.
# TensorRT comes from NVIDIA's apt repository, which the image knows. Give the version of the machine's JetPack
# (dpkg-query -W python3-libnvinfer): 10.16.2 is that of 7.2.1; 11.4.1 needs 7.2.2 and an AGX Orin or Thor.

# DL3008: of Ubuntu's own packages the newest is wanted, with its security updates.
ARG BASE=nvcr.io/nvidia/cuda:13.2.0-base-ubuntu24.04

FROM ${BASE} AS base
ARG TENSORRT=10.16.2
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN printf 'Package: *nvinfer* *nvonnxparsers*\nPin: version %s.*\nPin-Priority: 1001\n' "${TENSORRT}" \
        > /etc/apt/preferences.d/tensorrt \
    && apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-libnvinfer \
    && rm -rf /var/lib/apt/lists/*

# pyradiomics has no wheels: the compiler stays behind in this stage.
FROM base AS builder
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The system's packages are seen for TensorRT's Python module, which apt installed.
RUN python3 -m venv --system-site-packages /opt/scanside/venv \
    && /opt/scanside/venv/bin/pip install --no-cache-dir '.[cpu,appliance]' 'cuda-bindings~=13.0'

FROM base
COPY --from=builder /opt/scanside/venv /opt/scanside/venv
ENV PATH=/opt/scanside/venv/bin:$PATH XDG_CACHE_HOME=/var/cache PYTHONDONTWRITEBYTECODE=1
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
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/health', timeout=5)"]
ENTRYPOINT ["scanside"]
CMD ["serve", "-c", "/etc/scanside/scanside.toml"]
