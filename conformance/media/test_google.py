"""Files by Google's SDK: announced, then sent in pieces to the address that is told, without a key."""

import asyncio
import hashlib
import io
import urllib.error
import urllib.parse
import urllib.request

import pytest
from conftest import KEY, URL
from google.genai import errors

CONTENT = bytes(range(256)) * 40_000


@pytest.mark.shows("files: upload in pieces, list, get, delete")
def test_files(genai_client, vendor):
    file = genai_client.files.upload(file=io.BytesIO(CONTENT), config={"mime_type": "video/mp4", "display_name": "a tide"})
    assert (file.size_bytes, file.mime_type, file.display_name) == (len(CONTENT), "video/mp4", "a tide")
    pieces = [request for request in vendor() if "x-goog-upload-offset" in request["headers"]]
    # 10 MB in pieces of 8 MB at most.
    assert [piece["headers"]["x-goog-upload-offset"] for piece in pieces] == ["0", "8388608"]
    assert all(piece["query"].split("&")[1:] == ["upload_protocol=resumable"] for piece in pieces)
    found = genai_client.files.get(name=file.name)
    assert found.sha256_hash == hashlib.sha256(CONTENT).hexdigest()
    assert file.name in [other.name for other in genai_client.files.list()]
    genai_client.files.delete(name=file.name)
    with pytest.raises(errors.ClientError) as gone:
        genai_client.files.get(name=file.name)
    assert gone.value.code == 404


@pytest.mark.shows("files: upload, asynchronous")
def test_files_asynchronously(genai_client):
    async def upload():
        return await genai_client.aio.files.upload(file=io.BytesIO(b"short"), config={"mime_type": "text/plain"})
    assert asyncio.run(upload()).size_bytes == 5


def begin():
    """The address that an upload goes on at."""
    start = urllib.request.Request(f"{URL}/upload/v1beta/files", data=b"{}", method="POST", headers={
        "x-goog-api-key": KEY, "content-type": "application/json", "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start", "x-goog-upload-header-content-length": "5",
        "x-goog-upload-header-content-type": "text/plain"})
    return urllib.request.urlopen(start).headers["x-goog-upload-url"]


def send(address):
    piece = urllib.request.Request(address, data=b"short", method="POST", headers={
        "x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"})
    return urllib.request.urlopen(piece).status


def test_the_address_opens_its_own_upload_alone(vendor):
    address = begin()
    assert address.startswith(f"{URL}/upload/v1beta/files?upload_id=") and KEY not in address
    other = begin()
    pass_of = lambda url: urllib.parse.urlsplit(url).query.split("tidegate-pass=")[1]
    for wrong in [address.split("&tidegate-pass=")[0], address.replace(pass_of(address), pass_of(other)), address[:-1],
                  address.replace("upload_id=", "upload_id=x"), address.replace("/upload/v1beta/files", "/v1beta/files")]:
        before = len(vendor())
        with pytest.raises(urllib.error.HTTPError) as refused:
            send(wrong)
        assert refused.value.code == 401, wrong
        assert len(vendor()) == before, wrong
    assert send(address) == 200
