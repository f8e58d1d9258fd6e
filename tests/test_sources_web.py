"""Web addresses that mean harm: nothing inside is reached, nothing hangs, nothing is read without end."""

import contextlib
import gzip
import http.server
import resource
import socket
import ssl
import threading

import pytest
from emulator_certificates import certificates
from hypothesis import given
from hypothesis import strategies as st

from dagsverk.tabular import sources, web
from dagsverk.tabular.errors import SourceError, SourceUnavailable
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system

SYSTEM = load_system("iris")
HEADER = b"flower_id,sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n"
ROWS = HEADER + b"1,5.1,3.5,1.4,0.2,setosa\n"


PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 192.168.1.1 198.18.0.1 192.0.2.1
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1 100::1 ::127.0.0.1
::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1::
2002:a9fe:a9fe::1 2001:0:7f00:1::1
"""
PUBLIC = "8.8.8.8 93.184.216.34 2606:4700::1111 2001:4860:4860::8888 64:ff9b::8.8.8.8 ::ffff:8.8.8.8"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_of_machines_and_networks_of_our_own_are_not_public(address):
    assert not web.is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_that_everybody_reaches_are_public(address):
    assert web.is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_address_of_ipv4_is_as_public_however_ipv6_spells_it(number):
    four = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    for spelt in (f"::ffff:{four}", f"64:ff9b::{four}"):
        assert web.is_public(spelt) == web.is_public(four)


SPELT = """
2130706433 0x7f.1 0177.0.0.1 127.1 0 0.0.0.0 localhost localhost. LOCALHOST [::] [::1] [::ffff:127.0.0.1]
[::ffff:a9fe:a9fe] [64:ff9b::7f00:1] [2002:7f00:1::] 169.254.169.254 ①②⑦.⓪.⓪.① 127。0。0。1
"""


@pytest.mark.parametrize("host", SPELT.split())
def test_loopback_is_refused_however_it_is_spelt(site, host):
    with pytest.raises(
        SourceError, match=r"private address|no host or bucket|no address that can|cannot find"
    ):
        read_source(SYSTEM, f"http://{host}:{site.port}/rows.csv")
    assert site.asked == []


class Site:
    """A web server on loopback that answers by path, and remembers what it was asked."""

    def __init__(self, tls=None):
        self.asked, self.names, answer = [], [], self.answer

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                """Keep the test's output clean."""

            def do_GET(self):
                with contextlib.suppress(OSError):
                    answer(self)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "server.pem", tls / "server.key")
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port, self.over = self._server.server_address[1], threading.Event()
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler):
        self.asked.append((handler.path, dict(handler.headers)))
        name = handler.path.strip("/").split("/")[0]
        if name in ("to", "again"):
            handler.send_response(302)
            target = bytes.fromhex(handler.path.split("/")[2]).decode() if name == "to" else handler.path
            handler.send_header("Location", target)
            handler.end_headers()
        elif name == "nowhere":
            handler.send_response(304)
            handler.end_headers()
        elif name == "packed":
            handler.send_response(200)
            handler.send_header("Content-Encoding", "gzip")
            handler.end_headers()
            handler.wfile.write(gzip.compress(bytes(100 << 20)))
        elif name == "endless":
            handler.send_response(200)
            handler.end_headers()
            while not self.over.is_set():
                handler.wfile.write(bytes(1 << 16))
        elif name == "dripping":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not self.over.wait(0.05):
                handler.wfile.write(b"x")
        else:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(ROWS)


def to(target):
    """A path under which a site sends its visitor elsewhere."""
    return f"/to/{target.encode().hex()}/rows.csv"


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


@pytest.fixture
def look_ups(monkeypatch):
    """Names and what they lead to, one answer per look-up, the last one again and again; and how often."""
    addresses, counts, real = {}, {}, socket.getaddrinfo

    def look_up(host, port, *arguments, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in addresses:
            return real(host, port, *arguments, **options)
        counts[name] = counts.get(name, 0) + 1
        answers = addresses[name]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0))
            for address in answers[min(counts[name], len(answers)) - 1]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return addresses, counts


def test_a_host_is_looked_up_once_and_that_address_is_used(site, look_ups, monkeypatch):
    addresses, counts = look_ups
    addresses["two-faced.example"] = [["127.0.0.1"], ["127.0.0.2"]]
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    raw = read_source(SYSTEM, f"http://two-faced.example:{site.port}/rows.csv")
    assert len(raw.rows) == 1
    assert counts == {"two-faced.example": 1}
    assert site.asked[0][1]["Host"] == f"two-faced.example:{site.port}"


def test_a_host_that_turns_inwards_at_a_second_look_reaches_nothing(site, look_ups, monkeypatch):
    addresses, counts = look_ups
    addresses["two-faced.example"] = [["192.88.99.77"], ["127.0.0.1"]]  # the first is nobody's
    monkeypatch.setattr(web, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(web, "is_public", lambda address: address != "127.0.0.1")
    with pytest.raises(SourceError):
        read_source(SYSTEM, f"http://two-faced.example:{site.port}/rows.csv")
    assert (site.asked, counts) == ([], {"two-faced.example": 1})


def test_one_private_address_among_several_is_enough_to_refuse(site, look_ups):
    look_ups[0]["mixed.example"] = [["8.8.8.8", "127.0.0.1"]]
    with pytest.raises(SourceError, match="private address"):
        read_source(SYSTEM, f"http://mixed.example:{site.port}/rows.csv")
    assert site.asked == []


def test_another_address_of_the_host_is_tried_where_the_first_does_not_answer(site, look_ups, monkeypatch):
    monkeypatch.setenv(web.VARIABLE, "1")
    look_ups[0]["several.example"] = [["127.0.0.3", "127.0.0.1"]]
    assert len(read_source(SYSTEM, f"http://several.example:{site.port}/rows.csv").rows) == 1


@pytest.mark.parametrize(
    "target, complaint",
    [
        ("http://inside.example:{port}/rows.csv", "private address"),
        ("http://169.254.169.254/latest/rows.csv", "private address"),
        ("http://[::ffff:127.0.0.9]:{port}/rows.csv", "private address"),
        ("file:///etc/passwd", "redirects away from http"),
        ("ftp://127.0.0.1/rows.csv", "redirects away from http"),
        ("http://user:hunter2@127.0.0.1:{port}/rows.csv", "to an address with a password"),
        ("http://x:port/rows.csv", "cannot read"),
        ("/again/rows.csv", "redirects more than 3 times"),
    ],
)
def test_a_redirect_is_looked_at_like_the_address_itself(site, look_ups, monkeypatch, target, complaint):
    look_ups[0]["inside.example"] = [["127.0.0.9"]]
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(SourceError, match=complaint) as caught:
        read_source(SYSTEM, f"http://127.0.0.1:{site.port}{to(target.format(port=site.port))}")
    assert "hunter2" not in str(caught.value)
    assert all("Host" in headers and "inside" not in headers["Host"] for _, headers in site.asked)


@pytest.fixture
def open_site(site, monkeypatch):
    monkeypatch.setenv(web.VARIABLE, "1")
    return f"http://127.0.0.1:{site.port}"


def test_an_answer_that_leads_nowhere_is_told(open_site):
    with pytest.raises(SourceError, match="answered 304"):
        read_source(SYSTEM, f"{open_site}/nowhere/rows.csv")


def test_a_packed_answer_is_refused_before_it_is_unpacked(open_site, site):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=r"is sent packed \('gzip'\); download and unpack it first"):
        read_source(SYSTEM, f"{open_site}/packed/rows.csv")
    assert site.asked[0][1]["Accept-Encoding"] == "identity"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10


def test_an_answer_without_end_is_given_up_at_the_limit(open_site, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    with pytest.raises(SourceError, match="more than 1 MiB"):
        read_source(SYSTEM, f"{open_site}/endless/rows.csv")


def test_a_site_that_sends_a_byte_now_and_then_is_given_up_after_a_time(open_site, monkeypatch):
    monkeypatch.setattr(web, "TOTAL_S", 0.5)
    with pytest.raises(SourceUnavailable, match="took longer than"):
        read_source(SYSTEM, f"{open_site}/dripping/rows.csv")


@pytest.fixture
def safe_site(tmp_path, monkeypatch):
    """Over TLS, with a certificate of localhost by an authority that is trusted here."""
    folder = certificates(tmp_path / "certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    monkeypatch.setenv(web.VARIABLE, "1")
    made = Site(folder)
    yield made
    made.close()


def test_the_certificate_is_checked_for_the_name_though_an_address_is_connected_to(safe_site, look_ups):
    look_ups[0].update({"localhost": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    assert len(read_source(SYSTEM, f"https://localhost:{safe_site.port}/rows.csv").rows) == 1
    assert safe_site.names == ["localhost"]
    with pytest.raises(SourceError, match="its certificate is not trusted") as refusal:
        read_source(SYSTEM, f"https://other.example:{safe_site.port}/rows.csv")
    assert not isinstance(refusal.value, SourceUnavailable)


def test_a_password_comes_from_netrc_and_goes_to_its_own_host_over_tls_alone(
    safe_site, site, tmp_path, monkeypatch, look_ups
):
    look_ups[0]["localhost"] = [["127.0.0.1"]]
    (tmp_path / "netrc").write_text(
        "machine localhost login me password hunter2\ndefault login x password y\n"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    read_source(SYSTEM, f"https://localhost:{safe_site.port}{to(f'http://localhost:{site.port}/rows.csv')}")
    read_source(SYSTEM, f"https://127.0.0.1:{safe_site.port}/rows.csv")
    authorised = ["Authorization" in headers for _, headers in (*safe_site.asked, *site.asked)]
    assert authorised == [True, False, False]


def test_a_damaged_netrc_is_told_without_its_words(safe_site, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("hunter2")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(SourceError, match="mend it") as caught:
        read_source(SYSTEM, f"https://127.0.0.1:{safe_site.port}/rows.csv")
    assert "hunter2" not in str(caught.value)
