"""PostgreSQL addresses: parameters of other programs are translated, left out or refused before we connect.

No error cites a part of an address that may be a secret. Only the standard library is imported, since a deployed
function carries this file.
"""

import re
from urllib.parse import parse_qsl, quote, urlencode

_LIBPQ = """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
    gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
    keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version options passfile
    password port require_auth requirepeer service ssl_max_protocol_version ssl_min_protocol_version sslcert
    sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword
    sslrootcert sslsni target_session_attrs tcp_user_timeout user
"""
OURS = frozenset(_LIBPQ.split())
"""Parameters of libpq, which both of our drivers are made of (its documentation, section "Parameter Key Words")."""

# Prisma, Supabase and Vercel, node-postgres, JDBC, asyncpg, Rails, pgx
_ELSEWHERE = """
    connection_limit pgbouncer pool_timeout socket_timeout statement_cache_size sslidentity supa workaround
    pgbouncer_pool_mode uselibpqcompat max min idle_timeout prepareThreshold preparedStatementCacheQueries
    binary_parameters prepared_statement_cache_size prepared_statement_name_func command_timeout pool pool_size
    max_overflow prepared_statements reaping_frequency checkout_timeout statement_cache_capacity
    default_query_exec_mode pool_max_conns pool_min_conns
"""
FOREIGN = frozenset(_ELSEWHERE.split())
"""Parameters of other programs that say how they use the database, and nothing of where it is: left out."""

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

ENCODE = "write special characters of a password percent-encoded (@ %40, : %3A, / %2F, ? %3F, # %23, % %25)"


def clean_address(text: str) -> str:
    """Return the address as our drivers take it. Raises ``ValueError`` that says what is wrong, without the address."""
    scheme, _, rest = text.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres") or not rest or len(text.split()) != 1:
        raise ValueError("should be an address that starts with postgresql:// or postgres://")
    authority, path, query = re.fullmatch(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?", rest.partition("#")[0]).groups()  # type: ignore[union-attr]
    if "#" in rest or authority.count("@") > 1 or "@" in path:
        raise ValueError(f"has a character in it that ends the password: {ENCODE}")
    _check_host(authority.rpartition("@")[2])
    parameters = _parameters(query or "")
    if not path.strip("/") and "dbname" not in parameters:
        raise ValueError("names no database: it ends with /NAME")
    if "dbname" in parameters:
        path = f"/{quote(parameters.pop('dbname'), safe='')}"
    return f"{scheme}://{authority}{path}" + (f"?{urlencode(parameters, quote_via=quote)}" if parameters else "")


def _check_host(host: str) -> None:
    if "," in host:
        raise ValueError("names several hosts: write postgresql://USER:PASSWORD@/NAME?host=FIRST,SECOND&port=5432,5432")
    bare = host.rpartition("]")[2] if host.startswith("[") else host
    if ":" in bare:
        _check_port(bare.partition(":")[2])


def _check_port(port: str) -> None:
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536 and len(port) < 6):
        raise ValueError(f"has a port that is no number from 1 to 65535; {ENCODE}")


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters that our drivers know, by name."""
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in OURS:
            given[name] = value
        elif name == "ssl":
            given.update({} if value in ("0", "false") else {"sslmode": given.get("sslmode", "require")})
        elif name == "schema" and value not in ("", "public"):
            raise ValueError("asks for another schema than public: give ThreadJuice a database of its own")
        elif name == "sslaccept" and value != "accept_invalid_certs":
            raise ValueError("has sslaccept=strict: write sslmode=verify-full and sslrootcert=FILE")
        elif name not in (*FOREIGN, "schema", "sslaccept"):
            citable = re.fullmatch(r"[a-zA-Z_]{1,40}", name) and "@" not in query
            raise ValueError(
                f"has the parameter {name}, which is none of PostgreSQL's" if citable else _no_parameters()
            )
    if given.get("sslmode", "prefer") not in SSL_MODES:
        raise ValueError(f"has an sslmode that is none of {', '.join(SSL_MODES)}")
    for port in given.get("port", "5432").split(","):
        _check_port(port)
    return given


def _no_parameters() -> str:
    return f"has something after a ? that is no parameter; {ENCODE}"
