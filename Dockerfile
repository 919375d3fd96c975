# One image for every environment: what differs comes in as settings and secret files, nothing of it is built in.

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/clarity
ENV PATH=/opt/clarity/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Dependencies change less often than code: in a layer of their own they are installed only when the lock changes.
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml LICENSE ./
COPY src ./src
RUN pip install --no-deps --no-build-isolation --no-index .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin clarity \
    && install --directory --owner clarity --mode 0700 /var/lib/clarity
COPY --from=build /opt/clarity /opt/clarity
ENV PATH=/opt/clarity/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER clarity
WORKDIR /var/lib/clarity
VOLUME /var/lib/clarity
EXPOSE 8000
# The image has no curl, and needs none.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["clarity"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
