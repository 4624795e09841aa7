# The control plane. From the repository's root: `make image`, or
#   docker build -f images/castoff.Dockerfile -t castoff .
#
# BASE needs glibc 2.36 or newer and libgcc, no shell. PROGRAMS is an image that has the program already, at its root; by
# default it is compiled here.
ARG BUILDER=docker.io/library/rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
ARG PROGRAMS=compiled

FROM ${BUILDER} AS compiled
WORKDIR /source
COPY . .
RUN cargo build --locked --release --bin castoff \
    && strip --strip-debug -o /castoff target/release/castoff

FROM ${PROGRAMS} AS programs

FROM ${BASE}
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="castoff" \
      org.opencontainers.image.description="Castoff's control plane: who may deploy, and what nodes serve" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=programs /castoff /usr/bin/castoff
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/bin/castoff"]
CMD ["serve"]
