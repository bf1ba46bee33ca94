# One image for every role: `docker run … bulk-upload web`, `… worker`, `… migrate`.
FROM python:3.13-slim AS build

WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY jobs/ jobs/
COPY webapp/ webapp/
COPY templates/ templates/
COPY static/ static/
RUN pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir /wheels .


FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

RUN useradd --system --uid 10001 --no-create-home upload \
    && install --directory --owner upload --group upload --mode 0700 /data

WORKDIR /app

# The dependencies change less often than the code, so they are a layer of their own.
COPY requirements.lock ./
RUN pip install --quiet --no-deps --require-hashes -r requirements.lock

COPY --from=build /wheels/ wheels/
RUN pip install --quiet --no-index --no-deps wheels/*.whl

ENV BULK_UPLOAD_DATA=/data
USER upload
VOLUME /data

ENTRYPOINT ["bulk-upload"]
CMD ["serve"]
