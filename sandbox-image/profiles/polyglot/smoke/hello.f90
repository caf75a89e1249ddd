program hello
  implicit none
  character(len=32) :: name
  call get_command_argument(1, name)
  print '(a, a, a, i0)', 'hello ', trim(name), ' ', size([1, 2])
end program hello
