# The node, with ONNX Runtime. From the repository's root: `make image`, or
#   docker build -f images/castoff-node.Dockerfile -t castoff-node .
#
# BASE needs glibc 2.36 or newer, libgcc and libstdc++, no shell. PROGRAMS is an image that has the program and
# libonnxruntime.so already, at its root; by default the one is compiled here and the other fetched as onnxruntime.lock says.
ARG BUILDER=docker.io/library/rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
ARG PROGRAMS=compiled

FROM ${BUILDER} AS compiled
WORKDIR /source
RUN apt-get -q update && apt-get -q -y install --no-install-recommends python3-pip
COPY . .
RUN cp "$(scripts/onnxruntime)" /libonnxruntime.so
RUN cargo build --locked --release --bin castoff-node \
    && strip --strip-debug -o /castoff-node target/release/castoff-node

FROM ${PROGRAMS} AS programs

FROM ${BASE}
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="castoff-node" \
      org.opencontainers.image.description="A node of Castoff: serves one deployment's models behind its keys" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=programs /libonnxruntime.so /usr/lib/castoff/libonnxruntime.so
COPY --from=programs /castoff-node /usr/bin/castoff-node
ENV CASTOFF_ONNXRUNTIME=/usr/lib/castoff/libonnxruntime.so
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/bin/castoff-node"]
