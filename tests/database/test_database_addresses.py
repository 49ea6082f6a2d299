"""PostgreSQL addresses as other programs write them."""

import pytest

from threadjuice_dagster.database.addresses import clean_address


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("postgres://u:p@h/d", "postgres://u:p@h/d"),
        ("postgresql+psycopg://u@/d?host=%2Ftmp%2Fx", "postgresql+psycopg://u@/d?host=%2Ftmp%2Fx"),
        ("postgresql://u:p%40ss%2Fw@h:5432/d?sslmode=require", "postgresql://u:p%40ss%2Fw@h:5432/d?sslmode=require"),
        ("postgresql://u:50%off@[::1]:5433/d", "postgresql://u:50%off@[::1]:5433/d"),
        ("postgresql://u@h/d?schema=public&pgbouncer=true&connection_limit=1&pool_timeout=0", "postgresql://u@h/d"),
        (
            "postgres://postgres.abc:p@aws-0.pooler.example.com:6543/postgres?sslmode=require&supa=base-pooler.x",
            "postgres://postgres.abc:p@aws-0.pooler.example.com:6543/postgres?sslmode=require",
        ),
        ("postgresql://u@h/d?ssl=true", "postgresql://u@h/d?sslmode=require"),
        ("postgresql://u@h/d?sslmode=verify-full&ssl=true", "postgresql://u@h/d?sslmode=verify-full"),
        (
            "postgresql://u@h/d?sslaccept=accept_invalid_certs&connect_timeout=30",
            "postgresql://u@h/d?connect_timeout=30",
        ),
        ("postgresql://u@h?dbname=d", "postgresql://u@h/d"),
        ("postgresql://u@/d?host=a,b&port=5432,5433", "postgresql://u@/d?host=a%2Cb&port=5432%2C5433"),
    ],
)
def test_what_says_where_the_database_is_is_kept_and_the_rest_left_out(address: str, clean: str) -> None:
    assert clean_address(address) == clean
    assert clean_address(clean) == clean


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("postgresql://u:hunter2@h:abc/d", "port"),
        ("postgresql://u:hunter2@h:99999/d", "port"),
        ("postgresql://u:hunter2@h:0/d", "port"),
        ("postgresql://u:hunter2@h:/d", "port"),
        ("postgresql://u:hunter2@h/d?port=x", "port"),
        ("postgresql://u:hunter2@more@h/d", "%40"),
        ("postgresql://u:hunter2/more@h/d", "%2F"),
        ("postgresql://u:hunter2#more@h/d", "%23"),
        ("postgresql://u:hunter2?more@h/d", "%3F"),
        ("postgresql://u:1234?hunter2@h/d", "%3F"),
        ("postgresql://u:hunter2@h,i/d", "several hosts"),
        ("postgresql://u:hunter2@h", "no database"),
        ("postgresql://u:hunter2@h/", "no database"),
        ("postgresql://u:hunter2@h/d?schema=app", "schema"),
        ("postgresql://u:hunter2@h/d?sslmode=no-verify", "verify-full"),
        ("postgresql://u:hunter2@h/d?sslmod=verify-full", "the parameter sslmod"),
        ("postgresql://u:hunter2@h/d?sslaccept=strict", "sslmode=verify-full"),
        ("postgresql://u:hunter2 more@h/d", "postgresql://"),
        ("postgresql://", "postgresql://"),
        ("mysql://u:hunter2@h/d", "postgresql://"),
    ],
)
def test_what_would_lead_elsewhere_is_refused_without_the_password(address: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        clean_address(address)
    assert "hunter2" not in str(refused.value)
