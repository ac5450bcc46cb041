# syntax=docker/dockerfile:1
# The image of the gateway: the binary, its libraries, trust anchors. No shell, no package manager.
#
#   docker build -t sluice .
#   docker run --read-only -p 80:80 -v $PWD/config:/etc/sluice:ro sluice
#
# docs/deployment.md says how to run it; tuning/container/assemble.sh lays the same out without an engine.

FROM rust:1.92-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake protobuf-compiler libprotobuf-dev libcap2-bin nghttp2-client \
    && rm -rf /var/lib/apt/lists/* \
    && rustup component add llvm-tools
WORKDIR /src
COPY . .
# Shown by build_info{commit}.
ARG SLUICE_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    SLUICE_COMMIT=$SLUICE_COMMIT loadtest/guided-build.sh /usr/local/bin/sluice
# Strips what only a debugger reads, then lays the image out: files, owners, the file capability.
RUN strip --strip-debug /usr/local/bin/sluice \
    && tuning/container/assemble.sh /image /usr/local/bin/sluice

FROM scratch
# BuildKit keeps the extended attribute that the capability is.
COPY --from=build /image/ /
USER 10001:10001
WORKDIR /var/lib/sluice
# State: the snapshot cache, where one is configured.
VOLUME ["/var/lib/sluice"]
EXPOSE 80 443 3000 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/sluice", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["entrypoint"]
