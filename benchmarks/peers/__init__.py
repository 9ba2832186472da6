"""The systems that the CPU benchmark compares, one file each.

Every file has the same two functions and the same command line (see ``runner.py``):

    prepare(request)   -> None    convert a Hugging Face folder, once
    run_round(request) -> Round   one timed round, in this process or in one that it starts
"""
