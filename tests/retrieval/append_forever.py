"""Appends examples to a bank until it is killed, or as many as asked for; a test runs it."""

import sys

from icl_vla_retrieval import DemoBank, make_example

bank = DemoBank.open(sys.argv[1])
count = int(sys.argv[2]) if len(sys.argv) > 2 else 10**6
print("ready", flush=True)
sys.stdin.readline()
for seed in range(len(bank), len(bank) + count):
    print("appended", bank.append(make_example(seed)), flush=True)
