# Valetkey's image: the program, Debian's C library and the public certificate authorities. No shell, no package manager; a user that is a
# number; nothing in it is written to. docs/INSTALL.md tells how it is built, and run.
#
# BUILDER is any Debian with Rust and apt, of the processor that the image is for.
ARG BUILDER=rust:1-bookworm
# BASE is what the program stands on: `base`, made below of Debian's packages, or an image such as Google's distroless/cc for Debian 12, or your own with
# glibc 2.36, libgcc and certificates.
ARG BASE=base
# SOURCE=prebuilt takes what scripts/image.sh has built outside, and needs no BUILDER.
ARG SOURCE=compiled

FROM ${BUILDER} AS builder
# Of the commit that is built, in seconds since 1970, for dates in the bill of materials.
ARG SOURCE_DATE_EPOCH=
WORKDIR /valetkey
COPY . .
RUN scripts/install-build-deps.sh && make binary && scripts/image-parts.sh "$(dpkg --print-architecture)" target/dist/valetkey /parts

FROM scratch AS compiled
COPY --from=builder /parts /

FROM scratch AS prebuilt
ARG TARGETARCH
COPY target/image/${TARGETARCH} /

FROM ${SOURCE} AS parts

FROM scratch AS base
COPY --from=parts /base /

FROM ${BASE}
ARG VERSION=
ARG REVISION=
ARG CREATED=
ARG URL=
LABEL org.opencontainers.image.title="Valetkey" \
      org.opencontainers.image.description="A reverse-proxy sidecar that holds, refreshes and injects your users' API tokens" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${URL}"
COPY --from=parts /program /
# For the embedded store, where a volume is mounted: a new one takes the owner.
COPY --from=parts --chown=65532:65532 /state /var/lib/valetkey
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["valetkey"]
CMD ["serve", "--config", "/etc/valetkey/config/valetkey.yaml"]
