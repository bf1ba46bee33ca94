# One image for every role: `docker run … bulk-upload web`, `… worker`, `… migrate`.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

RUN useradd --system --uid 10001 --no-create-home upload \
    && install --directory --owner upload --group upload --mode 0700 /data

WORKDIR /app

# The dependencies change less often than the code, so they are a layer of their own.
COPY requirements.lock ./
RUN pip install --quiet --require-hashes -r requirements.lock

# It runs from its source tree: templates/ and static/ stand beside the packages.
COPY pyproject.toml README.md LICENSE ./
COPY jobs/ jobs/
COPY webapp/ webapp/
COPY templates/ templates/
COPY static/ static/
RUN pip install --quiet --no-deps --editable . \
    && python -m compileall -q jobs webapp

ENV BULK_UPLOAD_DATA=/data
USER upload
VOLUME /data

ENTRYPOINT ["bulk-upload"]
CMD ["serve"]
