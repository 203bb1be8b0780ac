from tools.machine import describe, processor_in


def test_the_processor_is_named_with_what_matters_to_the_network():
    cpuinfo = "processor: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f avx512_bf16\n\n"
    assert processor_in(cpuinfo) == "AMD EPYC (AVX2, AVX-512, bf16)"
    assert processor_in("model name : Old\nflags : fpu\n") == "Old (no AVX2)"


def test_a_run_names_its_machine_and_packages():
    line = describe()
    for words in (" cores of ", "; Python 3.", "torch ", ", commit "):
        assert words in line
