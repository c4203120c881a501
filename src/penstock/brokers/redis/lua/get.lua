-- Jobs as they stand. ARGV[3…]: ids, 1 if results are wanted. Answer: see read.
return read(ids_of(ARGV[OWN]), ARGV[OWN + 1] == '1')
